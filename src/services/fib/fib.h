/*
 * The Fibonacci server: each request is answered with the next number, and no number is ever given twice.
 */
#ifndef PLI_FIB_FIB_H
#define PLI_FIB_FIB_H

#include <plait/plugin.h>

extern const pl_plugin pli_fib_plugin;

#endif
