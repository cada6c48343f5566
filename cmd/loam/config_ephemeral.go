package main

import (
	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/node"
)

// parseEphemeral returns which inline volumes a pool takes: all of them where the section of the pool has no such key.
func parseEphemeral(pool *config.Section) node.Ephemeral {
	if !pool.Has("ephemeral") {
		return node.Ephemeral{}
	}
	s := pool.Child("ephemeral")
	s.Only("allowed", "maxSize")
	allowed := s.Bool("allowed")
	limit := node.Ephemeral{Refused: s.Has("allowed") && !allowed, MaxBytes: s.Size("maxSize")}
	if s.Err() == nil && limit.Refused && limit.MaxBytes > 0 {
		s.Wrong("maxSize", "stands beside \"allowed: false\", with which there is nothing to limit: keep one of them")
	}
	return limit
}

// limits returns what inline volumes the pools take, for node.Config.
func (c settings) limits() map[string]node.Ephemeral {
	limits := map[string]node.Ephemeral{}
	for _, p := range c.Pools {
		limits[p.Name] = p.Ephemeral
	}
	return limits
}
