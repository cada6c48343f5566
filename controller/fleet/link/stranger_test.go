package link_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestStrangersAreRefusedAndToldNothing(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	knock := func(method, path string, header http.Header) (int, string) {
		t.Helper()
		conn, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		req := &http.Request{Method: method, Host: "localhost", URL: &url.URL{Path: path}, Header: header}
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(conn)
		resp, err := http.ReadResponse(answers, req)
		if err != nil {
			return 0, err.Error()
		}
		body, _ := io.ReadAll(resp.Body)
		_ = conn.SetReadDeadline(time.Now().Add(4 * time.Second)) // less than any timeout
		if _, err := answers.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s %s: the connection stays open", method, path)
		}
		return resp.StatusCode, string(body)
	}
	hello := func(node, token string) http.Header {
		h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"loam"}, "Loam-Node": {node}}
		if token != "" {
			h.Set("Authorization", "Bearer "+token)
		}
		return h
	}
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		want         int
	}{
		"no upgrade":          {"GET", "/connect", http.Header{}, 404},
		"another path":        {"GET", "/", hello("n1", "token-of-n1"), 404},
		"a question to all":   {"OPTIONS", "*", http.Header{}, 404},
		"no name":             {"GET", "/connect", hello("", "token-of-"), 401},
		"another method":      {"POST", "/connect", hello("n1", "token-of-n1"), 404},
		"no token":            {"GET", "/connect", hello("n1", ""), 401},
		"nonsense for token":  {"GET", "/connect", hello("n1", "nonsense"), 401},
		"another node's name": {"GET", "/connect", hello("n2", "token-of-n1"), 401},
		"nobody can tell":     {"GET", "/connect", hello("n1", "nobody-knows"), 503},
		"a large header":      {"GET", "/connect", hello("n1", strings.Repeat("a", 64<<10)), 431},
	} {
		got, body := knock(c.method, c.path, c.header)
		if got != c.want && !(c.want == 431 && got == 0) {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if strings.Contains(body, "n1") || strings.Contains(body, "token is") {
			t.Errorf("%s: it says %q", name, body)
		}
	}
	if r.count() != 0 {
		t.Error("somebody is connected")
	}
	if refused, unsure := r.log.count("refused a node"), r.log.count("cannot tell who a node is"); refused != 1 || unsure != 1 { // those of one kind share a line
		t.Errorf("%d refusals are logged, and %d that nobody can tell", refused, unsure)
	}
	for _, token := range []string{"token-of-n1", "nonsense", "nobody-knows"} {
		if r.log.count(token) != 0 {
			t.Errorf("%q is logged", token)
		}
	}
	if _, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: a.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("it speaks TLS 1.2")
	}
}

// Whoever opens connections and says nothing holds a bounded number of them for a bounded time, and nodes still
// get in from elsewhere.
func TestSilentStrangersCostLittle(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	var conns []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	began := time.Now()
	for _, c := range conns { // all are ended by the other side
		_ = c.SetReadDeadline(time.Now().Add(40 * time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
			t.Fatalf("a silent connection is still open after %s: %v", time.Since(began), err)
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	server, _ := newServer(t)
	dial(t, a, r.address, "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
}

// Whoever says what he has to say a byte at a time is not listened to for long.
func TestSlowStrangersAreCutOff(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	begun, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: a.pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for what, c := range map[string]struct {
		conn net.Conn
		says string
	}{
		"request":   {begun, "GET /connect HTTP/1.1\r\nHost: localhost\r\nUpgrade: loam\r\nLoam-Node: n" + strings.Repeat("1", 1000)},
		"handshake": {raw, "\x16\x03\x01\x04\x00\x01\x00\x03\xfc\x03\x03" + strings.Repeat("r", 1000)},
	} {
		t.Cleanup(func() { _ = c.conn.Close() })
		all.Go(func() {
			began := time.Now()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = io.Copy(io.Discard, c.conn)
			}()
			for i := range c.says {
				select {
				case <-ended:
					if took := time.Since(began); took > 30*time.Second {
						t.Errorf("%s: cut off after %s", what, took)
					}
					return
				case <-time.After(100 * time.Millisecond): // as slow as that
				}
				_, _ = c.conn.Write([]byte(c.says[i : i+1]))
			}
			t.Errorf("%s: it was listened to for %s", what, time.Since(began))
		})
	}
	all.Wait()
}

// A handshake costs more here than there, so there are not many a second.
func TestStrangerGetsFewHandshakesASecond(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	var silent []net.Conn
	for range 64 { // they count from when they come
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	c, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: a.pool, ServerName: "localhost"})
	if err == nil {
		_ = c.Close()
		t.Error("there is a handshake for one more")
	}
	for _, c := range silent {
		_ = c.Close()
	}
	server, _ := newServer(t)
	dial(t, a, r.address, "n1", server) // from the same address
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
}

// What a node has sent is of no use to whoever has recorded it.
func TestHelloCannotBeReplayed(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	p := proxy(t, r.address)
	server, _ := newServer(t)
	dial(t, a, p.listener.Addr().String(), "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	before := r.node("n1")
	p.mu.Lock()
	sent := bytes.Clone(p.sent.Bytes())
	p.mu.Unlock()
	if len(sent) < 500 {
		t.Fatalf("%d bytes are recorded", len(sent))
	}
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it is not turned away")
	}
	if r.node("n1") != before {
		t.Error("it got in")
	}
	eventually(t, 30*time.Second, "a line in the log", func() bool { return r.log.count("refused a stranger") == 1 })
}

// Strangers who fail all day do not fill the log.
func TestStrangersShareALineInTheLog(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	for _, says := range []string{"", "no TLS at all", "no TLS again", "\x16\x03\x01\x00\x05hello"} {
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		if says == "" {
			_ = c.Close()
			continue
		}
		_, _ = io.WriteString(c, says)
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	eventually(t, 30*time.Second, "a line in the log", func() bool { return r.log.count("refused a stranger") > 0 })
	r.stop()
	if n := r.log.count("\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
}
