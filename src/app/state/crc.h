/*
 * CRC-32, the one of zlib, gzip and PNG: for finding what a disk has made of bytes, not what a person has.
 */
#ifndef PLI_APP_CRC_H
#define PLI_APP_CRC_H

#include <plait/base.h>

/* Goes on from `crc`, which is 0 at the beginning. */
uint32_t pli_crc32(uint32_t crc, pl_slice bytes);

#endif
