//go:build tools

// Package containerd pins the container runtime of the test cluster. It needs other versions of some modules than
// Kubernetes does.
package containerd

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
