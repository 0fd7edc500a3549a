/*
 * The system's source of randomness, from a seed.
 *
 * Rust's standard library asks getrandom(2) for the keys of its hash maps, and the async runtime draws from such keys which
 * branch of a `select!` it polls first. Both change what happens in a simulation. The standard library calls this function through
 * a weak symbol, so that a program may bring its own; this is it.
 *
 * With HIGHWATER_SIMULATION_SEED in the environment the bytes follow from that number alone (SplitMix64). Without it, and before
 * anything else was asked, the system is.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Each thread has a sequence of its own: what the main thread draws for the log changes nothing for the one that simulates. */
static _Thread_local uint64_t drawn;

ssize_t getrandom(void *buffer, size_t length, unsigned int flags)
{
	const char *seed = getenv("HIGHWATER_SIMULATION_SEED");
	if (seed == NULL)
		return syscall(SYS_getrandom, buffer, length, flags);

	const uint64_t base = strtoull(seed, NULL, 10);
	unsigned char *out = buffer;
	for (size_t i = 0; i < length; i++) {
		const uint64_t step = ++drawn;
		uint64_t mixed = base + step * 0x9e3779b97f4a7c15ULL;
		mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
		mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
		out[i] = (unsigned char)(mixed ^ (mixed >> 31));
	}
	return (ssize_t)length;
}
