#include "app/state/crc.h"

#include <zlib.h>

uint32_t pli_crc32(uint32_t crc, pl_slice bytes)
{
    if (!bytes.len) /* of nothing, zlib would begin anew */
        return crc;
    return (uint32_t) crc32_z(crc, (const Bytef *) bytes.ptr, bytes.len);
}
