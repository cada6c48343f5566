package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pki makes certificates in a directory: <name>.crt and <name>.key, signed by ca.crt.
type pki struct {
	dir string
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

func newPKI(t *testing.T, names ...string) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir()}
	for _, name := range append([]string{"ca"}, names...) {
		p.make(t, name)
	}
	return p
}

func (p *pki) make(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, DNSNames: []string{name}}
	if p.ca == nil {
		c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage, c.DNSNames = true, true, nil, nil
		p.ca, p.key = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, p.ca, key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{p.path(name + ".crt"): {Type: "CERTIFICATE", Bytes: raw}, p.path(name + ".key"): {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }
