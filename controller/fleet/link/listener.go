package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// ListenerConfig says how a Listener finds out who calls, and whom it tells.
type ListenerConfig struct {
	TLS *tls.Config // with the certificate of the controller

	// Identify returns the name of the machine that sends the request. It must not believe the request:
	// claimed is what it says of itself. The kind of its error is Unavailable where it cannot tell now.
	Identify func(ctx context.Context, r *http.Request, claimed string) (machine string, err error)

	// Connect is told of a node that is connected, by its volume.NodeName. gone is called when it is not any
	// more.
	Connect func(node string, conn grpc.ClientConnInterface) (gone func())
}

// Listener is the side of the controller.
type Listener struct {
	config ListenerConfig

	mu    sync.Mutex
	conns map[string]*conn // of the nodes that are connected
	all   sync.WaitGroup
}

// NewListener returns a Listener of no nodes.
func NewListener(c ListenerConfig) *Listener {
	return &Listener{config: c, conns: map[string]*conn{}}
}

// What somebody who has not said who he is can cost: some memory for each of a limited number of
// connections, for a few seconds.
const (
	helloTimeout    = 5 * time.Second // for the TLS handshake, and then for the request
	identifyTimeout = 10 * time.Second
	maxHelloBytes   = 16 << 10
	maxStrangers    = 1024
	maxPerAddress   = 64
)

// Serve takes connections until ctx ends, and then ends those it has. It closes l.
func (l *Listener) Serve(ctx context.Context, tcp net.Listener) error {
	config := l.config.TLS.Clone()
	config.MinVersion, config.NextProtos = tls.VersionTLS13, []string{"http/1.1"}
	strangers := newStrangers()
	server := &http.Server{
		Handler:           http.HandlerFunc(l.hello),
		ReadHeaderTimeout: helloTimeout,
		ReadTimeout:       helloTimeout + identifyTimeout,
		IdleTimeout:       helloTimeout,
		MaxHeaderBytes:    maxHelloBytes,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2 here
		ErrorLog:          log.New(io.Discard, "", 0),                               // a port is probed all day
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         strangers.state,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(tls.NewListener(&guarded{Listener: tcp, strangers: strangers}, config))
	l.mu.Lock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.all.Wait()
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return err
}

// hello answers the one request that there is.
func (l *Listener) hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	if r.Method != http.MethodGet || r.URL.Path != path || !strings.EqualFold(r.Header.Get("Upgrade"), protocol) {
		http.NotFound(w, r)
		return
	}
	claimed := r.Header.Get(nodeHeader)
	logger := klog.FromContext(r.Context()).WithValues("claimed", printable(claimed), "address", r.RemoteAddr)
	ctx, cancel := context.WithTimeout(r.Context(), identifyTimeout)
	defer cancel()
	machine, err := l.config.Identify(ctx, r, claimed)
	if err == nil && machine != claimed {
		err = errors.New("it is another machine")
	}
	switch {
	case volume.Is(err, volume.Unavailable):
		logger.Info("cannot tell who a node is", "err", err.Error())
		http.Error(w, "cannot be told now: try again", http.StatusServiceUnavailable)
		return
	case err != nil:
		logger.Info("refused a node", "err", err.Error())
		http.Error(w, "refused: the log of the controller says why", http.StatusUnauthorized)
		return
	}
	raw, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		logger.Error(err, "connection cannot be taken over")
		return
	}
	l.adopt(klog.NewContext(ctx, logger), volume.NodeName(machine), raw, buffered.Reader)
}

// adopt makes a connection that of a node. One that the node had before ends: it has proved just as well
// that it is the one who opens this one.
func (l *Listener) adopt(ctx context.Context, node string, raw net.Conn, buffered *bufio.Reader) {
	logger := klog.FromContext(ctx).WithValues("node", node)
	c := newConn(raw, buffered, silence)
	_ = raw.SetDeadline(time.Now().Add(helloTimeout))
	if _, err := io.WriteString(raw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n"); err != nil {
		_ = c.Close()
		return
	}
	_ = raw.SetDeadline(time.Time{})
	client, err := grpc.NewClient("passthrough:///"+node,
		grpc.WithContextDialer(once(c)), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // inside of the TLS that is there
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: silence, PermitWithoutStream: false}))
	if err != nil {
		logger.Error(err, "no client for a node")
		_ = c.Close()
		return
	}
	client.Connect()
	l.mu.Lock()
	before := l.conns[node]
	l.conns[node] = c
	l.all.Add(1)
	l.mu.Unlock()
	if before != nil {
		_ = before.Close()
	}
	gone := l.config.Connect(node, client)
	logger.Info("node is connected")
	go func() {
		defer l.all.Done()
		<-c.ended
		gone()
		_ = client.Close()
		l.mu.Lock()
		last := l.conns[node] == c
		if last {
			delete(l.conns, node)
		}
		l.mu.Unlock()
		if last {
			logger.Info("node is not connected any more")
		}
	}()
}

// printable is what of a claimed name is fit for a log.
func printable(text string) string {
	if len(text) > volume.MaxRequestNameBytes {
		text = text[:volume.MaxRequestNameBytes]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
