package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

const (
	passphrase = "correct horse \"battery\" staple\n"
	flagValue  = "system_u:object_r:sensitive_t"
	token      = "eyJhbGciOi.token.signature"
)

// sensitive is a request with one secret of each sort, and two things that may be seen.
func sensitiveRequest() *csi.NodeStageVolumeRequest {
	return &csi.NodeStageVolumeRequest{
		VolumeId: handle("v"), StagingTargetPath: "/seen/path",
		Secrets:       map[string]string{"passphrase": passphrase},
		VolumeContext: map[string]string{tokensKey: token, "seen": "plainly"},
		VolumeCapability: &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{
			Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4", MountFlags: []string{"noatime", "context=" + flagValue}}}},
	}
}

func wantNoSecret(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range []string{"correct horse", "battery", flagValue, "noatime", token} {
		if strings.Contains(text, secret) {
			t.Errorf("%s has the secret %q:\n%s", where, secret, text)
		}
	}
}

func TestNoSecretIsLoggedOrAnswered(t *testing.T) {
	for what, fail := range map[string]func(*csi.NodeStageVolumeRequest) error{
		"success": func(*csi.NodeStageVolumeRequest) error { return nil },
		"an error that has everything": func(r *csi.NodeStageVolumeRequest) error {
			return volume.Errorf(volume.Internal, "cryptsetup said: %s %q %s %s", r.GetSecrets()["passphrase"], r.GetSecrets()["passphrase"], flagValue, token)
		},
		"a panic that has everything": func(r *csi.NodeStageVolumeRequest) error {
			panic(fmt.Sprint(r.GetSecrets()["passphrase"], flagValue, token))
		},
	} {
		s := &services{stage: func(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
			return &csi.NodeStageVolumeResponse{}, fail(r)
		}}
		r := start(t, Config{Node: s})
		_, err := r.node.NodeStageVolume(t.Context(), sensitiveRequest())
		if err != nil {
			wantNoSecret(t, what+": the answer", err.Error())
		}
		if err := r.stop(t); err != nil {
			t.Fatal(err)
		}
		wantNoSecret(t, what+": the log", r.log.String())
		if lines := r.log.lines("request", "NodeStageVolume", "/seen/path", "plainly", "ext4", strippedText); len(lines) != 1 {
			t.Errorf("%s: %d lines show the request:\n%s", what, len(lines), r.log)
		}
	}
}

func TestNoSecretIsLoggedOfWorkWhoseCallerHasLeft(t *testing.T) {
	begun, proceed := make(chan struct{}), make(chan struct{})
	r := start(t, Config{Node: &services{stage: func(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
		close(begun)
		<-proceed
		return nil, volume.Errorf(volume.Full, "no room, said %s%s%s", r.GetSecrets()["passphrase"], flagValue, token)
	}}})
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := r.node.NodeStageVolume(ctx, sensitiveRequest())
		answered <- err
	}()
	receive(t, begun, "the call")
	leave()
	receive(t, answered, "the answer")
	eventually(t, "the server to notice", func() bool { return len(r.log.lines("NodeStageVolume", `code="Canceled"`)) == 1 })
	close(proceed)
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	wantNoSecret(t, "the log", r.log.String())
	if lines := r.log.lines("work ended after its caller had left", `code="ResourceExhausted"`, "no room", "seconds="); len(lines) != 1 {
		t.Errorf("%d lines say how it ended:\n%s", len(lines), r.log)
	}
}

func TestTheRequestItselfIsNotTouched(t *testing.T) {
	req := sensitiveRequest()
	wantNoSecret(t, "the text", withoutSecrets(req))
	if req.String() != sensitiveRequest().String() {
		t.Errorf("the request became %v", req)
	}
	if many := withoutSecrets(&csi.CreateVolumeRequest{VolumeCapabilities: []*csi.VolumeCapability{req.VolumeCapability}}); strings.Contains(many, "noatime") {
		t.Errorf("flags in a list of capabilities: %s", many)
	}
	if got := withoutSecrets("no message"); got != "" {
		t.Errorf("what is no message: %q", got)
	}
	if got := redact("mode rw of 1", &csi.DeleteVolumeRequest{Secrets: map[string]string{"a": "rw", "b": "1", "c": ""}}); got != "mode rw of 1" {
		t.Errorf("values too short to be secrets: %q", got)
	}
}

func TestEachCallHasItsLine(t *testing.T) {
	s := &services{
		create: func(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
			klog.FromContext(ctx).Info("from the handler")
			return nil, volume.Errorf(volume.Full, "pool %q\nis full", "p1")
		},
		remove: func(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
			return nil, errors.New("disk on fire")
		},
		capacity: func(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
			return &csi.GetCapacityResponse{}, nil
		},
	}
	r := start(t, Config{Controller: s, Node: s})
	_, err := r.controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "a\nname"})
	wantCode(t, err, codes.ResourceExhausted)
	_, err = r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
	wantCode(t, err, codes.Internal)
	_, err = r.controller.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle("v")})
	wantCode(t, err, codes.Unimplemented)
	_, err = r.controller.GetCapacity(t.Context(), &csi.GetCapacityRequest{})
	wantCode(t, err, codes.OK)
	_, err = r.identity.Probe(t.Context(), &csi.ProbeRequest{})
	wantCode(t, err, codes.OK)
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{
		{"I", `"call"`, `method="CreateVolume"`, `name="a name"`, `code="ResourceExhausted"`, "seconds=", `err="pool \"p1\" is full"`},
		{"I", `"from the handler"`, `method="CreateVolume"`, `name="a name"`},
		{"E", `"call"`, `method="DeleteVolume"`, `volume="n1/p1/v"`, `code="Internal"`, `err="disk on fire"`},
		{"I", `"call"`, `method="CreateSnapshot"`, `name="s"`, `source="n1/p1/v"`, `code="Unimplemented"`, "not implemented"},
		{"I", `"call"`, `method="GetCapacity"`, `code="OK"`},
		{"I", `"call"`, `method="Probe"`, `code="OK"`},
	} {
		if lines := r.log.lines(want...); len(lines) != 1 || !strings.HasPrefix(lines[0], want[0]) {
			t.Errorf("%d lines with %q:\n%s", len(lines), want, r.log)
		}
	}
	if calls := r.log.lines(`"call"`); len(calls) != 5 {
		t.Errorf("5 calls have %d lines:\n%s", len(calls), r.log)
	}
}
