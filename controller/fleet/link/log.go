package link

import (
	"bytes"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// httpLog takes what an http.Server has to say of strangers. A port is probed all day, so whoever only comes and goes is
// not worth a line, and of those who say something wrong, as one who repeats what a node has said, few get one.
type httpLog struct {
	logger klog.Logger
	logged time.Time // when somebody last got a line
	others int       // that got none since
}

// logEvery is how long those who fail the handshake share a line.
const logEvery = 5 * time.Second

// Write is called for one line at a time, by a log.Logger.
func (l *httpLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("certificate")) || bytes.Contains(line, []byte("panic")) { // a node whose certificate, or whose trust in ours, is wrong
		l.logger.Info("connection ended", "err", string(bytes.TrimSpace(line)))
		return len(line), nil
	}
	failed, handshake := strings.CutPrefix(string(bytes.TrimSpace(line)), "http: TLS handshake error from ")
	address, why, _ := strings.Cut(failed, ": ")
	for _, silent := range []string{"EOF", "connection reset by peer", "broken pipe", "i/o timeout", "deadline exceeded", "closed network connection"} {
		handshake = handshake && !strings.HasSuffix(why, silent)
	}
	if !handshake {
		return len(line), nil
	}
	if time.Since(l.logged) < logEvery {
		l.others++
		return len(line), nil
	}
	l.logger.Info("refused a stranger", "address", address, "err", why, "othersSince", l.others)
	l.logged, l.others = time.Now(), 0
	return len(line), nil
}
