/* Sector numbers in order, for finding blocks that overlap: by radix, since a table may have a million of them. */
#include "lib/vhd/image.h"

#include <errno.h>
#include <stdlib.h>

/* Ascending; three passes of 11, 11 and 10 bits. `spare` has room for count items. returns where the result is. */
static uint32_t *sort_by_digits(uint32_t *items, uint32_t *spare, size_t count)
{
    static const struct {
        unsigned shift;
        uint32_t mask;
    } passes[] = {{0, 0x7ff}, {11, 0x7ff}, {22, 0x3ff}};

    for (size_t p = 0; p < XK_COUNT(passes); p++) {
        size_t next[0x800] = {0};
        size_t sum = 0;
        for (size_t i = 0; i < count; i++)
            next[(items[i] >> passes[p].shift) & passes[p].mask]++;
        for (size_t d = 0; d <= passes[p].mask; d++) {
            const size_t here = next[d];
            next[d] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            spare[next[(items[i] >> passes[p].shift) & passes[p].mask]++] = items[i];
        uint32_t *const swap = items;
        items = spare;
        spare = swap;
    }
    return items;
}

int vhd_sort_sectors(uint32_t **items, size_t count)
{
    bool sorted = true;

    for (size_t i = 1; i < count && sorted; i++)
        sorted = (*items)[i - 1] <= (*items)[i];
    if (sorted)
        return 0;
    uint32_t *const spare = xk_array_alloc(count, sizeof(*spare));
    if (!spare)
        return -ENOMEM;
    uint32_t *const in_order = sort_by_digits(*items, spare, count);
    free(in_order == spare ? *items : spare);
    *items = in_order;
    return 0;
}
