// Package driver is the gRPC shell around the CSI services: the socket, the identity, and what every
// call passes on its way in and out. The services themselves know none of it, and return ordinary
// errors.
//
// A call passes, from the outside in:
//
//	log.go      one line for each call, and its request at a high verbosity
//	metrics.go  calls by method and code, and how long they took
//	status.go   the error becomes a gRPC status, the answer nil
//	gate.go     one call per name (names.go), and work that outlives its caller; on a node, not on what forwards
//	metrics.go  what is at work now, its caller waiting or not
//	recover.go  a panic becomes an error
//
// The order matters. What is logged and counted is what the caller was told; the gate lets go of a
// name only when the work has ended, and a panic in that work is caught in its own goroutine.
package driver
