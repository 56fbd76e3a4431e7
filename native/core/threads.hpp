// Work shared among threads by OpenMP, through the runtime that the process already has.
#pragma once
#include <stdint.h>

namespace normkit {

// Items [begin, end) of the work, done by one thread.
typedef void (*Task)(void* context, int64_t begin, int64_t end);

// Threads that a call may use: at most `wanted`; 1 without OpenMP, inside a parallel region, and in a child process
// of a fork (libgomp's threads do not survive one, and waiting for them would never end).
int usable_threads(int wanted);

// Splits [0, items) evenly among `threads`, every boundary a multiple of `unit`, and returns when all is done.
void share(int64_t items, int64_t unit, int threads, Task task, void* context);

// What the threads stand on, for people: "OpenMP 4.5", or why there are none.
const char* threading();

}  // namespace normkit
