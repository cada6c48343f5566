// Package crash kills the driver at random instants of its calls and asks whether anything came of it.
// It has only a test.
//
// The driver is a process of its own, wired as `loam serve` wires it, over a pool that shares blocks and
// one that copies them. The test keeps a model of what must exist, chooses calls at random, and sends
// SIGKILL to the driver, or to it and the commands it runs, at a random instant of most of them. Then it
// starts the driver again and repeats the call until that ends, which it must as if nothing had happened.
// After each start and each call, what is there is compared with the model: volumes and snapshots, as
// they are listed and as they lie on the disk, loop devices, mounts, targets, and the bytes in them.
//
//	go test -race ./sanity/crash -v -timeout 0 -crash.operations=10000
//
// The calls are chosen by a seed, which a failure prints with the last calls. A run with the same seed
// (-crash.seed) makes the same calls; the instants of the kills follow how long calls take, and differ.
package crash
