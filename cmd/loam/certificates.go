package main

import (
	"crypto/x509"
	"os"

	"github.com/loam-storage/loam/driver/volume"
)

// checkPair says whether a certificate and its key are given together, or neither. The kind of its error is Invalid.
func checkPair(certificate, key string) error {
	if (certificate == "") != (key == "") {
		return volume.Errorf(volume.Invalid, "--certificate and --key: one is useless without the other")
	}
	return nil
}

// readAuthorities reads the certificate authorities in a file. The kind of its error is Invalid for one that has none.
func readAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, volume.Errorf(volume.Invalid, "%q has no certificate in PEM", path)
	}
	return authorities, nil
}
