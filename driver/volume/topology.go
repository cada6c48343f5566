package volume

// The names that loam has in CSI and Kubernetes.
const (
	DriverName  = "loam.storage"      // CSI plugin name, and the prefix of everything loam names
	TopologyKey = "loam.storage/node" // topology segment whose value is ID.Node
)
