/* Disks as files. */
#include "lib/simpool/transfer.h"
void sim_import_raw_vdi(struct simpool *p, struct http_exchange *x)
{
    http_refuse(x, 501);
}
void sim_export_raw_vdi(struct simpool *p, struct http_exchange *x)
{
    http_refuse(x, 501);
}
