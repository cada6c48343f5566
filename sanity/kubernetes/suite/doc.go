// Package suite proves loam in a real cluster: the one that `make test-kubernetes` starts, with loam installed from
// its chart. suite_test.go lists what is tested, in the order in which it runs.
//
// Each test has a namespace of its own, and leaves nothing: the last one asks the cluster and the machine.
package suite
