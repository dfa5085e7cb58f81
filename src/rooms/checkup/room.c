/* The room of the main job: one command without a verb. */
#include "rooms/checkup/checkup.h"

static const struct xk_command *const commands[] = {
    &checkup_cmd_checkup,
    NULL,
};

const struct xk_room checkup_room = {
    .name = "checkup",
    .summary = "find what is wrong with disks and this machine, and what to do about it",
    .commands = commands,
    .plain = true,
};
