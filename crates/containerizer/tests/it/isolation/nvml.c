// In the place of NVIDIA's management library: a machine with three GPUs of the minor numbers 0, 2 and 5.
#include <stdio.h>
#include <string.h>
static unsigned minors[] = {0, 2, 5};
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *out, unsigned length) {
    snprintf(out, length, "535.1");
    return 0;
}
int nvmlDeviceGetCount_v2(unsigned *out) { *out = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
    if (index > 2) return 2;
    *out = &minors[index];
    return 0;
}
int nvmlDeviceGetUUID(void *device, char *out, unsigned length) {
    snprintf(out, length, "GPU-%u", *(unsigned *)device);
    return 0;
}
int nvmlDeviceGetMinorNumber(void *device, unsigned *out) { *out = *(unsigned *)device; return 0; }
