// Package volume holds the words of loam: the names, sizes, requests and errors that every other
// package speaks in. It imports nothing but the standard library and knows neither gRPC nor disks.
//
// A word that crosses a package border is defined here once: identity in id.go, sizes in size.go,
// what is asked for and what exists in spec.go and snapshot.go, StorageClass parameters in params.go,
// what is kept of them in record.go, options of mkfs in mkfs.go, file systems in filesystem.go, and the
// kinds of error in errors.go.
package volume
