package kubernetes

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-storage/loam/driver/volume"
)

func TestTokenProvesOnlyTheNodeThatItIsBoundTo(t *testing.T) {
	s, api := newAPI(t)
	good := func(change func(*authentication.TokenReviewStatus)) authentication.TokenReviewStatus {
		r := authentication.TokenReviewStatus{Authenticated: true, Audiences: []string{"loam.storage"}, User: authentication.UserInfo{
			Username: "system:serviceaccount:loam-system:loam-node", Extra: map[string]authentication.ExtraValue{nodeNameKey: {"node-1"}}}}
		if change != nil {
			change(&r)
		}
		return r
	}
	s.reviews = map[string]authentication.TokenReviewStatus{
		"token-good":     good(nil),
		"token-expired":  {Error: "token has expired"},
		"token-audience": good(func(r *authentication.TokenReviewStatus) { r.Audiences = []string{"https://kubernetes.default.svc"} }),
		"token-silent":   good(func(r *authentication.TokenReviewStatus) { r.Audiences = nil }), // an API that does not know audiences
		"token-account":  good(func(r *authentication.TokenReviewStatus) { r.User.Username = "system:serviceaccount:default:loam-node" }),
		"token-unbound":  good(func(r *authentication.TokenReviewStatus) { r.User.Extra = nil }),
		"token-twice": good(func(r *authentication.TokenReviewStatus) {
			r.User.Extra[nodeNameKey] = authentication.ExtraValue{"node-1", "node-2"}
		}),
	}
	i := NewIdentity(api, "loam-system", "loam-node")
	identify := func(token, claimed string) (string, error) {
		r, err := http.NewRequest(http.MethodGet, "https://c/connect", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return i.Identify(t.Context(), r, claimed)
	}
	if got, err := identify("token-good", "node-1"); err != nil || got != "node-1" {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []struct{ token, claimed string }{
		{"token-good", "node-2"}, {"token-good", ""}, {"", "node-1"}, {"token-expired", "node-1"}, {"token-audience", "node-1"}, {"token-silent", "node-1"},
		{"token-account", "node-1"}, {"token-unbound", "node-1"}, {"token-twice", "node-1"}, {"unheard of", "node-1"},
	} {
		if got, err := identify(c.token, c.claimed); !volume.Is(err, volume.Invalid) || got != "" {
			t.Errorf("%q as %q: %q, %v", c.token, c.claimed, got, err)
		} else if c.token != "" && strings.Contains(err.Error(), c.token) {
			t.Errorf("%v says the token", err)
		}
	}
	asked := len(s.asked)
	for range 100 {
		if _, err := identify("token-expired", "node-1"); !volume.Is(err, volume.Invalid) {
			t.Error(err)
		}
	}
	if len(s.asked) != asked {
		t.Errorf("a token that was refused is reviewed again %d times", len(s.asked)-asked)
	}
	s.away = true
	if _, err := identify("token-good", "node-1"); !volume.Is(err, volume.Unavailable) {
		t.Errorf("an API that is away: %v", err)
	}
}

func TestNodeIsGoneOnlyWhenTheAPISaysSo(t *testing.T) {
	s, api := newAPI(t)
	long := strings.Repeat("a-long-name.", 8) + "example"
	for _, name := range []string{"node-1", long} {
		s.put("/api/v1/nodes/"+name, &core.Node{TypeMeta: meta.TypeMeta{Kind: "Node", APIVersion: "v1"}, ObjectMeta: meta.ObjectMeta{Name: name}})
	}
	c := NewCluster(api, "loam-system", "loam-controller-0")
	for name, want := range map[string]bool{"node-1": true, volume.NodeName(long): true, "node-2": false} {
		if got, err := c.HasNode(t.Context(), name); got != want || err != nil {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
	c.Report(t.Context(), "NodeGone", strings.Repeat("long ", 1000))
	if len(s.events) != 1 || len(s.events[0].Note) != 1024 || s.events[0].Regarding.Name != "loam-controller-0" {
		t.Errorf("events: %+v", s.events)
	}
	s.away = true
	if got, err := c.HasNode(t.Context(), "node-2"); got || !volume.Is(err, volume.Unavailable) {
		t.Errorf("%t, %v", got, err)
	}
}

func TestHandlesAreThoseOfOurDriver(t *testing.T) {
	s, api := newAPI(t)
	for i, driver := range []string{"loam.storage", "other", "loam.storage"} {
		pv := &core.PersistentVolume{TypeMeta: meta.TypeMeta{Kind: "PersistentVolume", APIVersion: "v1"}, ObjectMeta: meta.ObjectMeta{Name: fmt.Sprint(i)}}
		pv.Spec.CSI = &core.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: fmt.Sprintf("n/p/v%d", i)}
		s.put("/api/v1/persistentvolumes/"+pv.Name, pv)
	}
	s.put("/api/v1/persistentvolumes/local", &core.PersistentVolume{ObjectMeta: meta.ObjectMeta{Name: "local"}})
	got, err := NewCluster(api, "", "").VolumeHandles(t.Context())
	if err != nil || len(got) != 2 || !got["n/p/v0"] || !got["n/p/v2"] {
		t.Errorf("%v, %v", got, err)
	}
}
