package link

import (
	"context"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// Certificate identifies a node by the certificate that it has presented and that the TLS configuration of
// the listener has verified: the machine is the one DNS name in it, until that or what it was verified with
// expires. The kind of its error is Invalid.
func Certificate(_ context.Context, r *http.Request, claimed string) (Proof, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Proof{}, volume.Errorf(volume.Invalid, "it has presented no certificate")
	}
	names := r.TLS.PeerCertificates[0].DNSNames
	if len(names) != 1 {
		return Proof{}, volume.Errorf(volume.Invalid, "its certificate has %d DNS names: it must have one, the name of the machine", len(names))
	}
	if names[0] != claimed {
		return Proof{}, volume.Errorf(volume.Invalid, "its certificate is that of %q", names[0])
	}
	return Proof{Machine: names[0], Until: expiry(r.TLS.VerifiedChains)}, nil
}

// expiry returns when the last of several chains of certificates expires, each with the first of its certificates.
func expiry(chains [][]*x509.Certificate) (last time.Time) {
	for _, chain := range chains {
		first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
		if first.After(last) {
			last = first
		}
	}
	return last
}

// Bearer returns the token of a request. The kind of its error is Invalid.
func Bearer(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", volume.Errorf(volume.Invalid, "it has sent no token")
	}
	return token, nil
}
