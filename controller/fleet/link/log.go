package link

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// refusals writes down who is refused. A port is probed all day, and somebody who wants to fill the log can be refused
// thousands of times a second, so of each kind one gets a line every logEvery, with how many got none since.
type refusals struct {
	mu    sync.Mutex
	kinds map[string]*refused // a handful, none of them made of what a stranger says
}

type refused struct {
	logged time.Time
	others int
}

const (
	logEvery = 5 * time.Second
	// maxSaid is how much of what a stranger has a say in is written down, in bytes.
	maxSaid = 300
)

// log writes a line, unless another one of its kind was written in the last logEvery.
func (r *refusals) log(logger klog.Logger, kind, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kinds == nil {
		r.kinds = map[string]*refused{}
	}
	last := r.kinds[kind]
	if last == nil {
		last = &refused{}
		r.kinds[kind] = last
	}
	if time.Since(last.logged) < logEvery {
		last.others++
		return
	}
	logger.Info(kind, "err", volume.Printable(why, maxSaid), "othersSince", last.others)
	last.logged, last.others = time.Now(), 0
}

// httpLog takes what an http.Server has to say of strangers. Whoever only comes and goes is not worth a line.
type httpLog struct {
	logger   klog.Logger
	refusals *refusals
}

// Write is called for one line at a time, by a log.Logger.
func (l *httpLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	failed, handshake := strings.CutPrefix(text, "http: TLS handshake error from ")
	address, why, _ := strings.Cut(failed, ": ")
	for _, silent := range []string{"EOF", "connection reset by peer", "broken pipe", "i/o timeout", "deadline exceeded", "closed network connection"} {
		handshake = handshake && !strings.HasSuffix(why, silent)
	}
	switch {
	case strings.Contains(text, "panic"):
		l.refusals.log(l.logger, "a request has failed here", text)
	case handshake && strings.Contains(why, "certificate"): // a node whose certificate, or whose trust in ours, is wrong
		l.refusals.log(l.logger.WithValues("address", address), "refused a certificate, or it refused ours", why)
	case handshake:
		l.refusals.log(l.logger.WithValues("address", address), "refused a stranger", why)
	}
	return len(line), nil
}
