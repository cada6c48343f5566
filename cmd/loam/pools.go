package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// poolRow is what `loam pools -o json` prints of a pool. Sizes are in bytes.
type poolRow struct {
	Pool         string      `json:"pool"`
	TotalBytes   volume.Size `json:"totalBytes"`
	FreeBytes    volume.Size `json:"freeBytes"`
	LargestBytes volume.Size `json:"largestBytes"`
	Healthy      bool        `json:"healthy"`
	Message      string      `json:"message,omitempty"`
}

func poolsCommand() *cobra.Command {
	return look[poolRow]{
		use: "pools", short: "Show the pools of this machine, with what is free in them",
		header: "POOL\tSIZE\tFREE\tLARGEST VOLUME\tHEALTHY\tMESSAGE",
		rows: func(ctx context.Context, p pool.Pool) ([]poolRow, error) {
			s, err := p.Status(ctx)
			if err != nil {
				return nil, err
			}
			return []poolRow{{s.Pool, s.TotalBytes, s.FreeBytes, s.LargestBytes, s.Healthy, s.Message}}, nil
		},
		line: func(r poolRow) string {
			return columns(r.Pool, r.TotalBytes, r.FreeBytes, r.LargestBytes, r.Healthy, r.Message)
		},
	}.command()
}
