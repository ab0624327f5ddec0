#include <plait/base.h>

int pl_version(void)
{
    return PL_VERSION;
}
