// A driver without a GPU, for tests of all that lies above it: Numba, its compiler and linker, cuda.bindings and this package.  Memory is the host's;
// kernels are loaded, and their launches taken note of, but they are not run.
//   cc -shared -fPIC -o libcuda.so.1 libcuda.c
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
typedef unsigned U;
typedef unsigned long long P;

struct kernel { char name[512]; int count; int sizes[512]; };
struct launch { struct kernel *kernel; U grid[3], block[3], shared; void *stream; int bytes; unsigned char data[4096]; int extended; };

static __thread void *current = 0;
static int context = 1, fail = 0;
static struct launch last;
static long launches = 0, entered = 0, graph_launches = 0, graphs = 0, copies = 0, turns = 0;

// ---- what tests ask
struct launch *fake_last(void) { return &last; }
long fake_launches(void) { return launches; }
long fake_entered(void) { return entered; }
long fake_graph_launches(void) { return graph_launches; }
long fake_graphs(void) { return graphs; }
long fake_copies(void) { return copies; }
long fake_turns(void) { return turns; }
void fake_fail(int code) { fail = code; }

// ---- devices and contexts
R cuInit(U f) { return 0; }
R cuDriverGetVersion(int *v) { *v = 13000; return 0; }
R cuDeviceGetCount(int *n) { *n = 1; return 0; }
R cuDeviceGet(int *d, int i) { *d = i; return 0; }
R cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "Fake GPU"); return 0; }
R cuDeviceGetUuid(char *u, int d) { memset(u, 7, 16); return 0; }
R cuDeviceGetUuid_v2(char *u, int d) { memset(u, 7, 16); return 0; }
R cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 9 : a == 76 ? 0 : a == 16 ? 132 : 1024; return 0; }
R cuDevicePrimaryCtxRetain(void **c, int d) { *c = &context; return 0; }
R cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
R cuDevicePrimaryCtxReset_v2(int d) { return 0; }
R cuDevicePrimaryCtxGetState(int d, U *f, int *a) { *f = 0; *a = 1; return 0; }
R cuCtxPushCurrent_v2(void *c) { current = c; entered++; return 0; }
R cuCtxPopCurrent_v2(void **c) { *c = current; current = 0; return 0; }
R cuCtxGetCurrent(void **c) { *c = current; return 0; }
R cuCtxSetCurrent(void *c) { current = c; return 0; }
R cuCtxGetDevice(int *d) { *d = 0; return current ? 0 : 201; }
R cuCtxGetDevice_v2(int *d, void *c) { *d = 0; return 0; }
R cuCtxSynchronize(void) { return 0; }
R cuStreamSynchronize(void *s) { return 0; }
R cuStreamGetCtx(void *s, void **c) { *c = current; return 0; }
R cuGetErrorName(int e, const char **s) { *s = "CUDA_ERROR_FAKE"; return 0; }
R cuGetErrorString(int e, const char **s) { *s = "a fake error"; return 0; }

// ---- memory
R cuMemAlloc_v2(P *p, size_t n) { void *m; if (posix_memalign(&m, 512, n)) return 2; *p = (P)m; return 0; }
R cuMemFree_v2(P p) { free((void *)p); return 0; }
R cuMemHostAlloc(void **p, size_t n, U f) { *p = calloc(1, n); return 0; }
R cuMemFreeHost(void *p) { free(p); return 0; }
R cuMemHostGetDevicePointer_v2(P *d, void *p, U f) { *d = (P)p; return 0; }
R cuMemcpyHtoD_v2(P d, const void *s, size_t n) { memcpy((void *)d, s, n); return 0; }
R cuMemcpyDtoH_v2(void *d, P s, size_t n) { memcpy(d, (void *)s, n); return 0; }
R cuMemcpyHtoDAsync_v2(P d, const void *s, size_t n, void *stream) { if (!current) return 201; copies++; memcpy((void *)d, s, n); return 0; }
R cuEventCreate(int **e, U f) { *e = calloc(1, sizeof(int)); return 0; }
R cuEventRecord(int *e, void *s) { (*e)++; return 0; }
R cuEventSynchronize(int *e) { turns += *e > 0; return 0; }
R cuMemGetInfo_v2(size_t *f, size_t *t) { *f = *t = 1ull << 36; return 0; }
R cuPointerGetAttribute(void *v, int a, P p) { if (a == 9) *(int *)v = 0; else *(P *)v = p; return 0; }

// ---- code: machine code as the linker made it, ELF, of which sizes of parameters are read
#define AT(type, p) (*(const type *)(p))
static uint8_t *copied(const uint8_t *c) {
    size_t n = AT(uint64_t, c + 0x28) + (size_t)AT(uint16_t, c + 0x3A) * AT(uint16_t, c + 0x3C);  // the table of sections, which comes late
    for (int i = 0; i < AT(uint16_t, c + 0x3C); i++) {
        const uint8_t *s = c + AT(uint64_t, c + 0x28) + i * AT(uint16_t, c + 0x3A);
        if (AT(uint32_t, s + 4) != 8 && AT(uint64_t, s + 0x18) + AT(uint64_t, s + 0x20) > n) n = AT(uint64_t, s + 0x18) + AT(uint64_t, s + 0x20);
    }
    return memcpy(malloc(n), c, n);
}
R cuLibraryLoadData(void **l, const void *c, void *a, void *b, U n, void *d, void *e, U m) { *l = copied(c); return 0; }
R cuLibraryUnload(void *l) { return 0; }
R cuLibraryGetKernel(void **k, const uint8_t *c, const char *name) {
    struct kernel *found = calloc(1, sizeof *found);
    snprintf(found->name, 512, "%s", name);
    const uint8_t *table = c + AT(uint64_t, c + 0x28);
    int size = AT(uint16_t, c + 0x3A);
    const char *names = c + AT(uint64_t, table + AT(uint16_t, c + 0x3E) * size + 0x18);
    char wanted[1024];
    snprintf(wanted, 1024, ".nv.info.%s", name);
    for (int i = 0; i < AT(uint16_t, c + 0x3C); i++) {
        const uint8_t *s = table + i * size;
        if (strcmp(names + AT(uint32_t, s), wanted)) continue;
        const uint8_t *at = c + AT(uint64_t, s + 0x18), *end = at + AT(uint64_t, s + 0x20);
        *k = found;
        for (; at < end; at += at[0] == 4 ? 4 + AT(uint16_t, at + 2) : 4) {
            if (at[0] == 4 && at[1] == 0x17) {  // EIATTR_KPARAM_INFO: index, ordinal, offset, and a size in the upper bits
                int ordinal = AT(uint16_t, at + 8);
                found->sizes[ordinal] = AT(uint32_t, at + 12) >> 18;
                if (ordinal >= found->count) found->count = ordinal + 1;
            }
        }
        return 0;
    }
    return 500;
}
R cuKernelGetFunction(void **f, void *k) { *f = k; return current ? 0 : 201; }
R cuKernelGetLibrary(void **l, void *k) { *l = k; return 0; }
R cuKernelGetAttribute(int *v, int a, void *k, int d) { *v = 1; return 0; }
R cuFuncGetAttribute(int *v, int a, void *k) { *v = 1; return 0; }
R cuFuncGetParamInfo(struct kernel *k, size_t i, size_t *o, size_t *n) { if (i >= k->count) return 1; *o = 8 * i; *n = k->sizes[i]; return 0; }
R cuKernelGetParamInfo(struct kernel *k, size_t i, size_t *o, size_t *n) { return cuFuncGetParamInfo(k, i, o, n); }

static void (*told)(struct launch *) = 0;
void fake_tell(void (*whom)(struct launch *)) { told = whom; }
static void note(void) { if (told) told(&last); }
static R noted(struct kernel *k, U *grid, U *block, U shared, void *stream, void **params, void **extra, int extended) {
    if (!current) return 201;
    if (extra) return 1;
    last.kernel = k; memcpy(last.grid, grid, 12); memcpy(last.block, block, 12); last.shared = shared; last.stream = stream; last.extended = extended;
    int at = 0;
    for (int i = 0; i < k->count; i++) { memcpy(last.data + at, params[i], k->sizes[i]); at += k->sizes[i]; }
    last.bytes = at;
    launches++;
    return fail;
}
R cuLaunchKernel(struct kernel *k, U x, U y, U z, U a, U b, U c, U shared, void *stream, void **params, void **extra) {
    U grid[3] = {x, y, z}, block[3] = {a, b, c};
    R r = noted(k, grid, block, shared, stream, params, extra, 0);
    note();
    return r;
}
struct config { U grid[3], block[3], shared; void *stream; void *attributes; U count; };
R cuLaunchKernelEx(struct config *g, struct kernel *k, void **params, void **extra) {
    return noted(k, g->grid, g->block, g->shared, g->stream, params, extra, 1);
}

// ---- graphs: chains of kernels, whose parameters are copied when a node is added
struct node { struct launch launch; struct node *before; };
struct graph { struct node *end; };
struct node_params { struct kernel *kernel; U grid[3], block[3], shared; void **params, **extra; void *kern, *context; };
R cuGraphCreate(struct graph **g, U flags) { *g = calloc(1, sizeof **g); graphs++; return flags ? 1 : 0; }
R cuGraphAddKernelNode(struct node **n, struct graph *g, struct node **before, size_t count, struct node_params *p) {
    if (!p->kernel || p->kern || p->context || count != (g->end != 0) || (count && before[0] != g->end)) return 1;
    R r = noted(p->kernel, p->grid, p->block, p->shared, 0, p->params, p->extra, 0);
    launches--;
    *n = malloc(sizeof **n);
    (*n)->launch = last; (*n)->before = g->end;
    g->end = *n;
    return r;
}
R cuGraphInstantiateWithFlags(struct graph **x, struct graph *g, P flags) { *x = malloc(sizeof **x); **x = *g; graphs++; return flags ? 1 : 0; }
R cuGraphDestroy(struct graph *g) { graphs--; return 0; }
R cuGraphExecDestroy(struct graph *g) { graphs--; return 0; }
static void run(struct node *n) { if (n) { run(n->before); last = n->launch; launches++; note(); } }
R cuGraphLaunch(struct graph *x, void *stream) { if (!current || stream) return 1; run(x->end); graph_launches++; return 0; }

// ---- how cuda.bindings finds the functions
R cuGetProcAddress_v2(const char *name, void **f, int version, P flags, int *status) {
    char other[256];
    void *self = dlopen("libcuda.so.1", RTLD_LAZY);
    snprintf(other, 256, "%s_v2", name);
    *f = dlsym(self, name);
    if (!*f) *f = dlsym(self, other);
    if (status) *status = *f ? 0 : 1;
    return *f ? 0 : 500;
}
