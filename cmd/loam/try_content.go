package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// writtenBytes is how much `loam try` writes into the volume and compares afterwards.
const writtenBytes = 16 << 20

// write fills a file with new random bytes, syncs it, and returns their checksum.
func (l *life) write(v *csi.Volume) (string, error) {
	f, err := os.Create(filepath.Join(l.target(v), "data"))
	if err != nil {
		return "", err
	}
	hash, seed := sha256.New(), [32]byte{}
	copy(seed[:], time.Now().String())
	_, err = io.CopyN(io.MultiWriter(f, hash), rand.NewChaCha8(seed), writtenBytes)
	return fmt.Sprintf("%x", hash.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

// compare mounts a copy beside its source and fails unless it holds the bytes with the checksum.
func (l *life) compare(ctx context.Context, v *csi.Volume, want string) (string, error) {
	if _, err := l.stage(ctx, v); err != nil {
		return "", err
	}
	if _, err := l.publish(ctx, v); err != nil {
		return "", err
	}
	f, err := os.Open(filepath.Join(l.target(v), "data"))
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	if got := fmt.Sprintf("%x", hash.Sum(nil)); got != want {
		return "", fmt.Errorf("%s holds bytes with sha256 %s, %s expected", l.target(v), got, want)
	}
	return fmt.Sprintf("%s holds sha256 %.12s, as it should", l.target(v), want), nil
}
