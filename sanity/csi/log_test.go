package csi_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// secret is in each of the secrets that csi-sanity sends.
const secret = "correct-horse-battery-staple"

func secretsFile() string {
	var b strings.Builder
	for _, call := range []string{
		"CreateVolume", "DeleteVolume", "ControllerPublishVolume", "ControllerUnpublishVolume", "ControllerValidateVolumeCapabilities",
		"NodeStageVolume", "NodePublishVolume", "CreateSnapshot", "DeleteSnapshot", "ControllerExpandVolume", "ControllerModifyVolume",
		"ListSnapshots", "GetSnapshot",
	} {
		fmt.Fprintf(&b, "%sSecret:\n  passphrase: %s\n", call, secret)
	}
	return b.String()
}

// log keeps all that the driver says.
type log struct {
	also io.Writer

	mu   sync.Mutex
	text bytes.Buffer
}

// logger returns one that says everything: each call and its request.
func (l *log) logger() klog.Logger {
	const everything = 9
	return textlogger.NewLogger(textlogger.NewConfig(textlogger.Verbosity(everything), textlogger.Output(l)))
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	return l.also.Write(p)
}

// check says whether the log has the calls with their secrets stripped, and none of the secrets.
func (l *log) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, secret) {
			return fmt.Errorf("a secret is in the log: %s", line)
		}
	}
	if !strings.Contains(l.text.String(), "stripped") {
		return fmt.Errorf("no request with a secret is in the log, which has %d bytes", l.text.Len())
	}
	return nil
}
