package hostile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificates is a directory with <name>.crt and <name>.key of the controller and of nodes, and with ca.crt of who signed them.
type certificates struct{ dir string }

func (c certificates) path(file string) string { return filepath.Join(c.dir, file) }

// make makes certificates of an authority for those names. The controller is at 127.0.0.1.
func (c certificates) make(names ...string) error {
	var authority *x509.Certificate
	var signing *ecdsa.PrivateKey
	for i, name := range append([]string{"ca"}, names...) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		one := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		if authority == nil {
			one.IsCA, one.BasicConstraintsValid, one.ExtKeyUsage, one.DNSNames, one.IPAddresses = true, true, nil, nil, nil
			authority, signing = one, key
		}
		raw, err := x509.CreateCertificate(rand.Reader, one, authority, key.Public(), signing)
		if err != nil {
			return err
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := errors.Join(
			os.WriteFile(c.path(name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600),
			os.WriteFile(c.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// of returns how the owner of a certificate calls the controller.
func (c certificates) of(name string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.path(name+".crt"), c.path(name+".key"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(c.path("ca.crt"))
	if err != nil {
		return nil, err
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(text)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: known, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13}, nil
}
