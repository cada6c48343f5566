package link

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"k8s.io/klog/v2"
)

// peer is a connection of a node that has proved who it is.
type peer struct {
	*conn
	node  string // its volume.NodeName
	calls calls
}

// client returns what calls the node over its connection.
func (p *peer) client() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+p.node,
		grpc.WithContextDialer(once(p.conn)), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // inside of the TLS that is there
		grpc.WithMaxHeaderListSize(maxAnswerHeaderBytes), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithUnaryInterceptor(p.calls.unary), grpc.WithStreamInterceptor(p.calls.stream),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: silence, PermitWithoutStream: false}))
}

// drain is how long the calls on a connection that was replaced may still take.
const drain = 10 * time.Second

// retire ends a connection on which no more is called: after its calls, or after drain. A call that is cut off
// goes on at the node, and finds itself done when it is repeated.
func (p *peer) retire() {
	late := time.AfterFunc(drain, p.end)
	p.calls.afterLast(func() {
		late.Stop()
		go p.end()
	})
}

// end may take a while with a node that does not listen: TLS says goodbye.
func (p *peer) end() { _ = p.Close() }

// What a node may answer at most: the headers with the text of an error in them, and a page of a list.
const (
	maxAnswerHeaderBytes = 256 << 10
	maxAnswerBytes       = 4 << 20
)

// maxPerNode is how many connections a node has at most: the one that counts, and those that end. One that connects
// again and again without need waits for drain then.
const maxPerNode = 8

// enter counts one more connection of a node, and reports whether there may be one: of two at once, each counts for
// the other. leave takes it back.
func (l *Listener) enter(node string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[node] >= maxPerNode {
		return false
	}
	l.of[node]++
	return true
}

// leave is for a connection that entered and has ended.
func (l *Listener) leave(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[node]--; l.of[node] == 0 {
		delete(l.of, node)
	}
}

// adopt makes a connection that has entered that of a node, for as long as its proof holds. It replaces one that the node had before,
// because it has proved just as well whose it is, and is newer.
func (l *Listener) adopt(ctx context.Context, node string, holds time.Duration, raw net.Conn, buffered *bufio.Reader) {
	logger := klog.FromContext(ctx).WithValues("node", node)
	p := &peer{conn: newConn(raw, buffered, silence), node: node}
	_ = raw.SetDeadline(time.Now().Add(helloTimeout))
	if _, err := fmt.Fprintf(raw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %d\r\n\r\n", protocol, holdsHeader, int(holds.Seconds())); err != nil {
		_ = p.Close()
		l.leave(node)
		return
	}
	_ = raw.SetDeadline(time.Time{})
	client, err := p.client()
	if err != nil {
		logger.Error(err, "no client for a node")
		_ = p.Close()
		l.leave(node)
		return
	}
	client.Connect()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		_ = client.Close()
		_ = p.Close()
		l.leave(node)
		return
	}
	before := l.nodes[node]
	l.nodes[node], l.peers[p] = p, struct{}{}
	gone := l.config.Connect(node, client) // under mu: of two at once, the same one counts here and there
	l.all.Add(1)
	l.mu.Unlock()
	logger.Info("node is connected", "again", before != nil)
	expired := time.AfterFunc(holds, func() {
		logger.Info("what a node has proved holds no longer, its connection is ended")
		p.retire()
	})
	if before != nil {
		before.retire()
	}
	go func() {
		defer l.all.Done()
		<-p.ended
		expired.Stop()
		gone()
		p.calls.close()
		_ = client.Close()
		l.leave(node)
		l.mu.Lock()
		delete(l.peers, p)
		counts := l.nodes[node] == p
		if counts {
			delete(l.nodes, node)
		}
		l.mu.Unlock()
		if counts {
			logger.Info("node is not connected any more")
		}
	}()
}
