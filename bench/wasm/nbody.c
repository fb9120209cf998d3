#include "bench/wasm/guest.h"

struct nb_body {
    double x, y, z, vx, vy, vz, mass;
};
static struct nb_body nb_bodies[5];

static double nb_root(double x)
{
    return __builtin_sqrt(x);
}

NOINLINE static void nb_advance(double dt)
{
    for (int i = 0; i < 5; i++) {
        struct nb_body *a = &nb_bodies[i];
        for (int j = i + 1; j < 5; j++) {
            struct nb_body *b = &nb_bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double square = dx * dx + dy * dy + dz * dz + 0.01;
            double force = dt / (square * nb_root(square));
            a->vx -= dx * b->mass * force;
            a->vy -= dy * b->mass * force;
            a->vz -= dz * b->mass * force;
            b->vx += dx * a->mass * force;
            b->vy += dy * a->mass * force;
            b->vz += dz * a->mass * force;
        }
    }
    for (int i = 0; i < 5; i++) {
        struct nb_body *a = &nb_bodies[i];
        a->x += dt * a->vx;
        a->y += dt * a->vy;
        a->z += dt * a->vz;
    }
}

GUEST(nbody)
{
    for (int i = 0; i < 5; i++)
        nb_bodies[i] = (struct nb_body){i * 1.5, i * i * 0.3, -i * 0.7, 0.1 * i, 0.2 - 0.05 * i,
                                        0.01 * i, i ? 0.02 * i : 39.0};
    for (int32_t i = 0; i < n; i++)
        nb_advance(0.001);
    return (int32_t)(nb_bodies[0].x * 1e6 + nb_bodies[4].y * 1e6);
}
