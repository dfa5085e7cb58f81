/* What the files of interfaces share. */
#ifndef LIB_SIMPOOL_PIF_H
#define LIB_SIMPOOL_PIF_H

#include "lib/simpool/ops.h"

/* A record that is not physical, not attached, without metrics. NULL: no memory. */
struct sim_object *sim_pif_create(struct simpool *p, const char *device, const struct sim_object *network,
                                  const char *host, const char *mac);
void sim_pif_metrics_create(struct simpool *p, struct sim_object *pif);
/* with_metrics: they are its own. */
void sim_pif_destroy(struct simpool *p, struct sim_object *pif, bool with_metrics);
/* The interface of a host that has a device's name and no VLAN tag. */
struct sim_object *sim_pif_of_device(const struct simpool *p, const struct sim_object *host, const char *device);
/* The interface of a host on a network. NULL: there is none. */
struct sim_object *sim_pif_on(const struct simpool *p, const struct sim_object *network, const char *host);
/* "bond0": the stem with the lowest number that no device of the host has. */
void sim_pif_device_new(const struct simpool *p, const char *host, const char *stem, char ret[24]);

bool sim_pif_is_managed(const struct sim_object *pif, struct sim_why *why);
/* Neither HA nor a redo log depends on it. */
bool sim_pif_is_unprotected(const struct simpool *p, const struct sim_object *pif, struct sim_why *why);
bool sim_pif_can_plug(const struct simpool *p, const struct sim_object *pif, struct sim_why *why);
bool sim_pif_can_unplug(const struct simpool *p, const struct sim_object *pif, struct sim_why *why);
/* Its own address of the family that is its primary one, without the prefix; "" for none. */
struct resolve_words sim_pif_address(const struct sim_object *pif);
void sim_pif_plug(struct simpool *p, struct sim_object *pif);
/* The network is managed and the host has no interface on it yet. */
bool sim_network_is_free(const struct simpool *p, const struct sim_object *net, const char *host, struct sim_why *why);

#endif
