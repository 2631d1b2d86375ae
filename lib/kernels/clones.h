// One loop, several instruction sets: the dynamic linker picks the version that fits the CPU.
#pragma once

/// RWKVLAB_CLONES before a function compiles it for AVX-512 (x86-64-v4), AVX2 (v3) and the baseline. GCC on x86 only,
/// empty elsewhere (arm64 has its SIMD in the baseline) and in sanitizer builds, where symbols are resolved before the
/// runtime starts. Clones are not inherited: what such a function calls must be inlined into it (RWKVLAB_INLINE), and
/// an OpenMP region is outlined into a plain function, so clones are called from inside it (parallel_simd in simd.h
/// does so).
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) && !defined(RWKVLAB_NO_CLONES)
#define RWKVLAB_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
/// Defined where functions may be compiled for several instruction sets.
#define RWKVLAB_HAS_CLONES
#else
#define RWKVLAB_CLONES
#endif

/// Inlines a function into whichever clone calls it.
#if defined(__GNUC__)
#define RWKVLAB_INLINE __attribute__((always_inline)) inline
/// After the parameter list of a lambda: inlines it into its caller.
#define RWKVLAB_INLINE_LAMBDA __attribute__((always_inline))
#else
#define RWKVLAB_INLINE inline
#define RWKVLAB_INLINE_LAMBDA
#endif
