package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"k8s.io/klog/v2"
)

// ServerOptions are what a server on a node must be made with.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		// TLS keeps a buffer of the largest record that it has been sent, for each connection of a controller.
		grpc.WriteBufferSize(4 << 10), grpc.ReadBufferSize(4 << 10),
		grpc.ConnectionTimeout(silence), // of a controller that agreed and then says nothing
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: silence - pingEvery}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}
}

// Dialer is the side of a node.
type Dialer struct {
	Address string                      // host:port of one replica of the controller
	Node    string                      // name of this machine
	TLS     func() (*tls.Config, error) // asked for each connection, so that certificates may change
	Token   func() (string, error)      // says who this is; nil: the certificate does
	Server  *grpc.Server                // what the controller may call
	From    net.IP                      // address of this machine to connect from; nil: whichever leads there
}

// Waiting between two attempts grows to mostWait, and is between half and all of that: many nodes must not
// come back in one instant, and all within seconds.
const (
	leastWait   = 100 * time.Millisecond
	mostWait    = 3 * time.Second
	dialTimeout = 10 * time.Second

	// An address that was a pod's may swallow all that is sent to it. Nodes must be back before a controller goes on
	// without them, which it does 10 s after its start.
	connectTimeout = 3 * time.Second
)

// Run keeps this node connected until ctx ends or the server has stopped. What goes wrong is logged, once for each
// reason.
func (d Dialer) Run(ctx context.Context) {
	logger := klog.FromContext(ctx).WithValues("controller", d.Address)
	wait, last := leastWait, ""
	var connections sync.WaitGroup
	defer connections.Wait()
	for ctx.Err() == nil {
		c, err := d.dial(ctx)
		if err == nil {
			logger.Info("connected to the controller")
			began := time.Now()
			last = ""
			if d.stay(ctx, c, &connections) {
				return
			}
			err = errors.New("the connection has ended")
			if time.Since(began) > mostWait {
				wait = leastWait
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err.Error() != last {
			logger.Info("not connected to the controller, trying again", "err", err.Error())
			last = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, mostWait)
	}
}

// stay answers calls on a connection, and before what it proved holds no longer opens the next one, which counts from
// then on; the controller ends the one before, when the calls on it have ended. It returns when the one that counts has
// ended, and reports whether the server has stopped.
func (d Dialer) stay(ctx context.Context, c *conn, connections *sync.WaitGroup) (stopped bool) {
	last := ""
	for {
		served, serving := make(chan bool, 1), c
		connections.Go(func() { served <- d.serve(ctx, serving) })
		for c == serving {
			again := make(<-chan time.Time)
			if !c.until.IsZero() {
				left := time.Until(c.until)
				again = time.After(max(left/2+rand.N(max(left/4, 1)), 5*leastWait)) // not all nodes at once
			}
			select {
			case stopped := <-served:
				return stopped
			case <-again:
			}
			if next, err := d.dial(ctx); err == nil {
				c, last = next, ""
			} else if ctx.Err() == nil && err.Error() != last {
				last = err.Error()
				klog.FromContext(ctx).Info("cannot prove again who this is", "controller", d.Address, "holdsUntil", c.until, "err", err.Error())
			}
		}
	}
}

// serve answers calls until the connection ends, or ctx. It reports whether the server has stopped, which it does when the
// calls at work have ended.
func (d Dialer) serve(ctx context.Context, c *conn) (stopped bool) {
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	err := d.Server.Serve(newSingle(c))
	if err == nil { // it was stopped while it served
		<-c.ended
	}
	return err == nil || errors.Is(err, grpc.ErrServerStopped)
}

// dial opens a connection on which the controller has agreed to call this node.
func (d Dialer) dial(ctx context.Context) (_ *conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	config, err := d.TLS()
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.MinVersion, config.NextProtos = tls.VersionTLS13, []string{"http/1.1"}
	if config.ServerName == "" {
		if config.ServerName, _, err = net.SplitHostPort(d.Address); err != nil {
			return nil, err
		}
	}
	raw, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	reader, holds, err := d.upgrade(ctx, c)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	connected := newConn(c, reader, 0)
	if holds > 0 {
		connected.until = time.Now().Add(holds)
	}
	return connected, nil
}

// connect opens what TLS is spoken over. To find the address may take longer than connectTimeout: a name server that is
// away is followed by the next one after 5 seconds.
func (d Dialer) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dialer := net.Dialer{Control: func(network, address string, raw syscall.RawConn) error {
		time.AfterFunc(connectTimeout, func() { cancel(fmt.Errorf("%s does not answer: no connection within %s", address, connectTimeout)) })
		return dropWhenSilent(network, address, raw)
	}}
	if d.From != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: d.From}
	}
	c, err := dialer.DialContext(ctx, "tcp", d.Address)
	if late := context.Cause(ctx); err != nil && late != nil {
		return nil, late
	}
	return c, err
}

// upgrade says who this is and what for, and returns for how long the controller believes it; 0 where it does not say.
func (d Dialer) upgrade(ctx context.Context, c net.Conn) (_ *bufio.Reader, holds time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+d.Address+path, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {protocol}, nodeHeader: {d.Node}}
	if d.Token != nil {
		token, err := d.Token()
		if err != nil {
			return nil, 0, err
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	}
	if err := req.Write(c); err != nil {
		return nil, 0, err
	}
	reader := bufio.NewReader(c)
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		return nil, 0, fmt.Errorf("the controller did not answer: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return nil, 0, fmt.Errorf("the controller refused this node as %q: %s: %s", d.Node, resp.Status, strings.TrimSpace(string(said)))
	}
	seconds, err := strconv.Atoi(resp.Header.Get(holdsHeader))
	if err != nil || seconds < 0 {
		seconds = 0 // a controller of an earlier release says nothing
	}
	return reader, time.Duration(min(seconds, int(longestProof.Seconds()))) * time.Second, nil
}

// dropWhenSilent has the kernel end a connection whose peer acknowledges nothing: a write to a machine that
// has lost its power would wait for many minutes.
func dropWhenSilent(_, _ string, raw syscall.RawConn) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
	return errors.Join(err, set)
}
