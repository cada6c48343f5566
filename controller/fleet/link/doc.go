// Package link is the connection between a node and a controller of a cluster. The node dials, over TLS, and
// asks in one HTTP/1.1 request to upgrade the connection; the controller finds out who it is before it
// agrees. From then on it is HTTP/2 with the roles swapped: the node serves gRPC on the connection that it
// dialled, and the controller is the client. So a node listens on no port, and can be reached through any
// address translation.
//
// On the controller:
//
//	listener := link.NewListener(link.ListenerConfig{TLS: tlsConfig, Identify: identify, Connect: fleet.Connect})
//	err := listener.Serve(ctx, tcp)
//
// On a node, one for each replica of the controller:
//
//	link.Dialer{Address: "loam-controller-0.loam-controller:9443", Node: "node-7", TLS: tls, Token: token, Server: server}.Run(ctx)
//
// where server is made with link.ServerOptions.
//
// What a node has proved holds for a while: until its token or certificate expires, an hour at most, and no longer
// than the cluster has the node. Before that the node opens a second connection and proves it again; calls go over
// the new one from then on, and the first ends when those at work on it have.
package link

import "time"

// The request that opens a connection.
const (
	path       = "/connect"
	protocol   = "loam"      // of the Upgrade header
	nodeHeader = "Loam-Node" // the name that the node claims

	// In the answer: for how many seconds the controller believes what the node has proved.
	holdsHeader = "Loam-Holds"
)

// longestProof is for how long a node is believed at most. A token whose pod was deleted, or a certificate whose
// authority was replaced, is noticed when it is shown again.
const longestProof = time.Hour

// A connection on which nothing is called carries a ping of the node every pingEvery. Who has heard nothing
// for silence, or has had no answer to a ping, takes the other side for dead.
const (
	pingEvery = 3 * time.Second
	silence   = 9 * time.Second
)
