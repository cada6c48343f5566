package kubernetes

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet/link"
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
	s.put("/api/v1/nodes/node-1", aNode("node-1"))
	i := NewIdentity(api, "loam-system", "loam-node")
	identify := func(token, claimed string) (string, error) {
		r, err := http.NewRequest(http.MethodGet, "https://c/connect", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		proof, err := i.Identify(t.Context(), r, claimed)
		return proof.Machine, err
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
	for n := range 100 {
		for _, token := range []string{"token-expired", "token-good"} {
			if _, err := identify(token, fmt.Sprintf("node-%d", n+2)); !volume.Is(err, volume.Invalid) {
				t.Error(err)
			}
		}
	}
	if len(s.asked) != asked {
		t.Errorf("a token that was refused is reviewed again %d times", len(s.asked)-asked)
	}
	if got, err := identify("token-good", "node-1"); err != nil || got != "node-1" {
		t.Errorf("the node itself is refused for what others claimed: %q, %v", got, err)
	}
	s.away = true
	if _, err := identify("token-good", "node-1"); !volume.Is(err, volume.Unavailable) {
		t.Errorf("an API that is away: %v", err)
	}
}

// What a token proves holds until it expires, and while the cluster has the node.
func TestTokenHoldsForATime(t *testing.T) {
	s, api := newAPI(t)
	s.put("/api/v1/nodes/node-1", aNode("node-1"))
	until := time.Now().Add(50 * time.Minute).Truncate(time.Second)
	token := func(claims string) string {
		text := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
		s.reviews[text] = authentication.TokenReviewStatus{Authenticated: true, Audiences: []string{"loam.storage"}, User: authentication.UserInfo{
			Username: "system:serviceaccount:loam-system:loam-node", Extra: map[string]authentication.ExtraValue{nodeNameKey: {"node-1"}}}}
		return text
	}
	i := NewIdentity(api, "loam-system", "loam-node")
	identify := func(token string) (link.Proof, error) {
		r := httptest.NewRequest(http.MethodGet, "https://c/connect", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return i.Identify(t.Context(), r, "node-1")
	}
	for claims, want := range map[string]time.Time{
		fmt.Sprintf(`{"exp": %d}`, until.Unix()): until, `{"exp": "soon"}`: {}, `{}`: {}, `nonsense`: {}, `{"exp": 1e300}`: {}, `{"exp": -1}`: {},
	} {
		if proof, err := identify(token(claims)); err != nil || proof.Machine != "node-1" || !proof.Until.Equal(want) {
			t.Errorf("%s: %+v, %v", claims, proof, err)
		}
	}
	s.remove("/api/v1/nodes/node-1")
	asked := 0
	for n := range 3 {
		if proof, err := identify(token(`{"a": 1}`)); !volume.Is(err, volume.Invalid) || proof.Machine != "" || !strings.Contains(err.Error(), `no node "node-1"`) {
			t.Errorf("a node that the cluster has no more: %+v, %v", proof, err)
		}
		if n == 0 {
			asked = len(s.asked)
		}
	}
	if len(s.asked) != asked {
		t.Errorf("the API is asked %d times more about a node that it has said is gone", len(s.asked)-asked)
	}
}

// A controller that starts reviews the tokens of a thousand nodes at once; strangers get no further than the rate.
func TestThousandTokensAreReviewedAtOnce(t *testing.T) {
	_, api := newAPI(t)
	limit, n := api.authentication.GetRateLimiter(), 0
	for limit.TryAccept() && n < 5000 {
		n++
	}
	if n < 1000 || n > 2000 || limit.QPS() > 200 {
		t.Errorf("%d at once, then %.0f a second", n, limit.QPS())
	}
}

// However much is logged: client-go writes down bodies from -v=8 on.
func TestLogHasNeitherTokensNorKeys(t *testing.T) {
	defer klog.CaptureState().Restore()
	flags := flag.NewFlagSet("", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"v": "10", "logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	var written bytes.Buffer
	klog.SetOutput(&written)
	s, api := newAPI(t)
	install(s)
	now := time.Now()
	if err := replica(api, &now).Refresh(t.Context()); err != nil { // makes keys
		t.Fatal(err)
	}
	if err := replica(api, &now).Refresh(t.Context()); err != nil { // reads them
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "https://c/connect", nil)
	r.Header.Set("Authorization", "Bearer a-very-secret-token")
	if _, err := NewIdentity(api, "loam-system", "loam-node").Identify(t.Context(), r, "node-1"); !volume.Is(err, volume.Invalid) {
		t.Error(err)
	}
	klog.Flush()
	secret := s.get(secretPath).(*core.Secret)
	if !bytes.Contains(written.Bytes(), []byte(secretPath)) {
		t.Fatal("it does not log what it asks, so this shows nothing")
	}
	for what, text := range map[string]string{
		"the token": "a-very-secret-token",
		"a key":     string(secret.Data[keySignerKey][40:80]),
		"a Secret":  base64.StdEncoding.EncodeToString(secret.Data[keySignerKey])[40:80],
	} {
		if bytes.Contains(written.Bytes(), []byte(text)) {
			t.Errorf("%s is logged", what)
		}
	}
}
