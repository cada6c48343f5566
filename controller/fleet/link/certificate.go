package link

import (
	"context"
	"net/http"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// Certificate identifies a node by the certificate that it has presented and that the TLS configuration of
// the listener has verified: the machine is the one DNS name in it. The kind of its error is Invalid.
func Certificate(_ context.Context, r *http.Request, claimed string) (string, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", volume.Errorf(volume.Invalid, "it has presented no certificate")
	}
	names := r.TLS.PeerCertificates[0].DNSNames
	if len(names) != 1 {
		return "", volume.Errorf(volume.Invalid, "its certificate has %d DNS names: it must have one, the name of the machine", len(names))
	}
	if names[0] != claimed {
		return "", volume.Errorf(volume.Invalid, "its certificate is that of %q", names[0])
	}
	return names[0], nil
}

// Bearer returns the token of a request. The kind of its error is Invalid.
func Bearer(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", volume.Errorf(volume.Invalid, "it has sent no token")
	}
	return token, nil
}
