package kubernetes

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// How long things are valid. An authority is replaced at half its life, so that what it has signed never
// outlives it; its successor is trusted for a day before it signs, which is long enough for every node to
// have heard of it.
const (
	authorityLife   = 2 * 365 * 24 * time.Hour
	certificateLife = 90 * 24 * time.Hour
	trustedFirst    = 24 * time.Hour
	backdated       = time.Hour // clocks differ
)

// Keys of the Secret. trusted is a bundle, and the only one that nodes get.
const (
	keyTrusted    = "ca.crt"
	keySigner     = "signer.crt"
	keySignerKey  = "signer.key"
	keyNext       = "next.crt"
	keyNextKey    = "next.key"
	keyServing    = "tls.crt"
	keyServingKey = "tls.key"
)

// advance returns what a Secret with the given data should have at that time: the same where nothing is due.
// It takes one step at a time, and any number of replicas that take it from the same data agree on what is
// due.
func advance(data map[string][]byte, names []string, now time.Time) (_ map[string][]byte, changed bool, err error) {
	next := map[string][]byte{}
	for key, value := range data {
		next[key] = value
	}
	signer, _ := parseCertificate(next[keySigner])
	if signer == nil || now.Before(signer.NotBefore) || !now.Before(signer.NotAfter) || !signs(signer, next[keySignerKey]) {
		if next[keySigner], next[keySignerKey], err = newAuthority(now); err != nil {
			return nil, false, err
		}
		delete(next, keyNext)
		delete(next, keyNextKey)
		changed = true
	} else if now.After(signer.NotBefore.Add(authorityLife/2)) && next[keyNext] == nil {
		if next[keyNext], next[keyNextKey], err = newAuthority(now); err != nil {
			return nil, false, err
		}
		changed = true
	}
	if successor, _ := parseCertificate(next[keyNext]); successor != nil && now.After(successor.NotBefore.Add(backdated+trustedFirst)) {
		next[keySigner], next[keySignerKey] = next[keyNext], next[keyNextKey]
		delete(next, keyNext)
		delete(next, keyNextKey)
		changed = true
	}
	if !servable(next, names, now) {
		if next[keyServing], next[keyServingKey], err = newCertificate(next[keySigner], next[keySignerKey], names, now); err != nil {
			return nil, false, err
		}
		changed = true
	}
	trusted := bundle(now, next[keySigner], next[keyNext], next[keyTrusted])
	if !bytes.Equal(trusted, next[keyTrusted]) {
		next[keyTrusted] = trusted
		changed = true
	}
	return next, changed, nil
}

// servable reports whether the certificate in data can be served for a while longer.
func servable(data map[string][]byte, names []string, now time.Time) bool {
	serving, _ := parseCertificate(data[keyServing])
	signer, _ := parseCertificate(data[keySigner])
	if serving == nil || signer == nil || serving.CheckSignatureFrom(signer) != nil || !signs(serving, data[keyServingKey]) {
		return false
	}
	for _, name := range names {
		if serving.VerifyHostname(name) != nil {
			return false
		}
	}
	// One of a replica whose clock is ahead is not valid yet.
	return !now.Before(serving.NotBefore) && now.Before(serving.NotBefore.Add(certificateLife*2/3))
}

// bundle returns the authorities that are to be trusted: each of those given that has not expired, once.
func bundle(now time.Time, blocks ...[]byte) []byte {
	var trusted []byte
	seen := map[string]bool{}
	for _, rest := range blocks {
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil || seen[string(c.Raw)] || !now.Before(c.NotAfter) {
				continue
			}
			seen[string(c.Raw)] = true
			trusted = append(trusted, encodeCertificate(c.Raw)...)
		}
	}
	return trusted
}

func newAuthority(now time.Time) (certificate, key []byte, err error) {
	template, err := template(now, authorityLife)
	if err != nil {
		return nil, nil, err
	}
	template.Subject = pkix.Name{CommonName: "loam nodes' controller " + now.UTC().Format(time.DateOnly)}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true // it makes no other authorities
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	private, encoded, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	return encodeCertificate(raw), encoded, nil
}

func newCertificate(signer, signerKey []byte, names []string, now time.Time) (certificate, key []byte, err error) {
	parent, err := parseCertificate(signer)
	if err != nil {
		return nil, nil, err
	}
	parentKey, err := parseKey(signerKey)
	if err != nil {
		return nil, nil, err
	}
	template, err := template(now, certificateLife)
	if err != nil {
		return nil, nil, err
	}
	template.Subject = pkix.Name{CommonName: "loam controller"}
	template.DNSNames = names
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	private, encoded, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	return encodeCertificate(raw), encoded, nil
}

func template(now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-backdated), NotAfter: now.Add(life)}, nil
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), nil
}

func encodeCertificate(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T", key)
	}
	return private, nil
}

// signs reports whether the key is that of the certificate.
func signs(c *x509.Certificate, key []byte) bool {
	private, err := parseKey(key)
	return err == nil && private.PublicKey.Equal(c.PublicKey)
}
