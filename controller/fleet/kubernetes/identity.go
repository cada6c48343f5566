package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"

	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver/volume"
)

// Identity finds out who a node is from the service-account token that the kubelet has put into its pod.
type Identity struct {
	api   *API
	user  string        // that nodes run as
	slots chan struct{} // bound the reviews at once

	mu      sync.Mutex
	refused map[[sha256.Size]byte]refusal
}

// refusal is what was said of a token, which is not asked about again before until, whoever sends it says that he is.
type refusal struct {
	node  string // that it is good for, where another name was claimed; empty where it is good for none
	err   error
	until time.Time
}

const (
	reviewsAtOnce = 32
	refusedFor    = 10 * time.Second
	maxRefused    = 4096
	nodeNameKey   = "authentication.kubernetes.io/node-name" // of the node that a token is bound to, KEP-4193
)

// NewIdentity returns an Identity of nodes whose pods run as that service account.
func NewIdentity(api *API, namespace, serviceAccount string) *Identity {
	return &Identity{api: api, user: "system:serviceaccount:" + namespace + ":" + serviceAccount,
		slots: make(chan struct{}, reviewsAtOnce), refused: map[[sha256.Size]byte]refusal{}}
}

// Identify returns the name of the node to which the token of the request is bound, and until when the token is good.
// The kind of its error is Invalid for a token that proves nothing, or is that of a node that the cluster has no more,
// and Unavailable where the API does not answer. It is a link.ListenerConfig.Identify.
func (i *Identity) Identify(ctx context.Context, r *http.Request, claimed string) (link.Proof, error) {
	token, err := link.Bearer(r)
	if err != nil {
		return link.Proof{}, err
	}
	key := sha256.Sum256([]byte(token))
	if err := i.refusedBefore(key, claimed); err != nil {
		return link.Proof{}, err
	}
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		return link.Proof{}, volume.Errorf(volume.Unavailable, "too many nodes ask at once: %w", ctx.Err())
	}
	review, err := i.api.review(ctx, &authentication.TokenReview{
		Spec: authentication.TokenReviewSpec{Token: token, Audiences: []string{Audience}},
	})
	if err != nil {
		return link.Proof{}, volume.Errorf(volume.Unavailable, "the Kubernetes API did not review the token: %w", err)
	}
	node, err := i.judge(review.Status)
	if err == nil && node != claimed {
		err = volume.Errorf(volume.Invalid, "its token is that of node %q", node)
	}
	if err == nil {
		// The token is as good as the pod that has it, which outlives the node's object for a while.
		has, failed := i.api.hasNode(ctx, node)
		switch {
		case failed != nil:
			return link.Proof{}, volume.Errorf(volume.Unavailable, "the Kubernetes API did not say whether there is a node %q: %w", node, failed)
		case !has:
			node, err = "", volume.Errorf(volume.Invalid, "the cluster has no node %q", node)
		}
	}
	if err != nil {
		i.refuse(key, node, err)
		return link.Proof{}, err
	}
	return link.Proof{Machine: node, Until: expiry(token)}, nil
}

// expiry returns when a token that was found good expires, zero where it does not say so itself (RFC 7519, exp).
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"` // seconds of Unix time
	}
	if err := json.Unmarshal(text, &claims); err != nil || claims.Expires <= 0 || claims.Expires > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}

// judge returns the node of whose loam a reviewed token proves that it is the bearer.
func (i *Identity) judge(s authentication.TokenReviewStatus) (string, error) {
	node := s.User.Extra[nodeNameKey]
	switch {
	case !s.Authenticated:
		return "", volume.Errorf(volume.Invalid, "its token is not valid: %.200s", s.Error)
	case !slices.Contains(s.Audiences, Audience):
		return "", volume.Errorf(volume.Invalid, "its token is not for %q", Audience)
	case s.User.Username != i.user:
		return "", volume.Errorf(volume.Invalid, "it is %q, and nodes are %q", s.User.Username, i.user)
	case len(node) != 1 || node[0] == "":
		return "", volume.Errorf(volume.Invalid, "its token is not bound to a node")
	}
	return node[0], nil
}

func (i *Identity) refusedBefore(key [sha256.Size]byte, claimed string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r, known := i.refused[key]; known && time.Now().Before(r.until) && (r.node == "" || r.node != claimed) {
		return r.err
	}
	return nil
}

func (i *Identity) refuse(key [sha256.Size]byte, node string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.refused) >= maxRefused {
		clear(i.refused)
	}
	i.refused[key] = refusal{node: node, err: err, until: time.Now().Add(refusedFor)}
}
