package main

import (
	"errors"

	"github.com/loam-storage/loam/node"
)

// ephemeral returns which inline volumes a pool takes: all of them where there is no such key.
func (s section) ephemeral() (node.Ephemeral, error) {
	if !s.has("ephemeral") {
		return node.Ephemeral{}, nil
	}
	e, err := newSection(s.where+": ephemeral", s.values["ephemeral"])
	if err != nil {
		return node.Ephemeral{}, err
	}
	if err := e.only("allowed", "maxSize"); err != nil {
		return node.Ephemeral{}, err
	}
	allowed, allowedErr := e.truth("allowed")
	most, mostErr := e.size("maxSize")
	limit := node.Ephemeral{Refused: e.has("allowed") && !allowed, MaxBytes: most}
	if allowedErr == nil && mostErr == nil && limit.Refused && most > 0 {
		mostErr = e.wrong("maxSize", "stands beside \"allowed: false\", with which there is nothing to limit: keep one of them")
	}
	return limit, errors.Join(allowedErr, mostErr)
}

// limits returns what inline volumes the pools take, for node.Config.
func (c config) limits() map[string]node.Ephemeral {
	limits := map[string]node.Ephemeral{}
	for _, p := range c.Pools {
		limits[p.Name] = p.Ephemeral
	}
	return limits
}
