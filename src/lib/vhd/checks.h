/*
 * The check rows over VHD images, for `xenkit checkup`, `xenkit vhd check` and whoever else runs checks.
 */
#ifndef VHD_CHECKS_H
#define VHD_CHECKS_H

#include "core/check.h"
#include "lib/vhd/survey.h"

/* One row for each enum vhd_problem_kind, in its order; row.detail is the kind. Ends with a NULL id. */
extern const struct xk_check vhd_checks[];
/* Its subject is a struct vhd_survey: tables and bitmaps read, parents followed, folders with their subfolders. */
extern const struct xk_check_set vhd_check_set;

/* The row of a problem kind. */
const struct xk_check *vhd_check_of(enum vhd_problem_kind kind);

#endif
