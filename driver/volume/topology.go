package volume

// The names that loam has in CSI and Kubernetes.
const (
	DriverName  = "loam.storage"      // CSI plugin name, and the prefix of everything loam names
	TopologyKey = "loam.storage/node" // topology segment whose value is ID.Node

	// ContextReadOnly is the key of the publish context in which ControllerPublishVolume tells the
	// node service whether it attached the device read-only: "true" or "false". That the key is there
	// at all says that the orchestrator attached the volume and will detach it.
	ContextReadOnly = "loam.storage/readOnly"

	// ContextEphemeral is the key in the context of an inline ephemeral volume, which lives and dies with
	// one pod. The kubelet gives it at publishing (podInfoOnMount), and lists of volumes have it as well.
	ContextEphemeral = reserved + "ephemeral"

	// MetadataMaking is the gRPC metadata beside a list of volumes in which a node tells a controller the names,
	// without node and pool, of the volumes that it is making: they may be missing in the list.
	MetadataMaking = "loam-making"
)
