/*
 * The check rows over VHD images, for `xenkit checkup`, `xenkit vhd check` and whoever else runs checks.
 */
#ifndef VHD_CHECKS_H
#define VHD_CHECKS_H

#include "core/check.h"
#include "lib/vhd/survey.h"

extern const struct xk_check vhd_checks[];
extern const struct xk_check_set vhd_check_set; /* its subject is a struct vhd_survey */

/* The row of a problem kind. */
const struct xk_check *vhd_check_of(enum vhd_problem_kind kind);

#endif
