// Package kubernetes is what the controller asks the Kubernetes API: who a node is (TokenReview), whether the
// cluster still has it, and where the controller keeps its certificate. Nothing else of loam knows the API;
// a node never does.
//
// What it needs, and no more: create tokenreviews; get and list nodes; create events; get and update the one
// Secret and the one ConfigMap; and for "loam orphans", list persistentvolumes.
package kubernetes

import "github.com/loam-storage/loam/driver/volume"

// Audience is whom a node's token must be for.
const Audience = volume.DriverName
