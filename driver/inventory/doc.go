// Package inventory is how a node tells the controller of a cluster what it has: a gRPC service of loam's own, described in
// inventory.proto (docs/decisions/0019-inventory.md). The code beside it is generated from that.
package inventory

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate
