package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
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
	BlockBytes   volume.Size `json:"blockBytes,omitempty"` // of a logical block of a new volume that is no copy
}

func poolsCommand() *cobra.Command {
	c := look[poolRow]{
		use: "pools", short: "Show the pools of this machine, with what is free in them",
		header: "POOL\tSIZE\tFREE\tLARGEST VOLUME\tHEALTHY\tMESSAGE",
		rows: func(ctx context.Context, p pool.Pool) ([]poolRow, error) {
			s, err := p.Status(ctx)
			if err != nil {
				return nil, err
			}
			return []poolRow{{s.Pool, s.TotalBytes, s.FreeBytes, s.LargestBytes, s.Healthy, s.Message, s.BlockBytes}}, nil
		},
		line: func(r poolRow) string {
			return columns(r.Pool, r.TotalBytes, r.FreeBytes, r.LargestBytes, r.Healthy, r.Message)
		},
	}.command()
	show, forget := c.RunE, ""
	c.Flags().StringVar(&forget, "forget", "", "forget the pool of this name, so that another one may take its place; what is on its disk stays")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("forget") {
			return show(c, args)
		}
		state, err := c.Flags().GetString("state-dir")
		if err != nil {
			return err
		}
		was, err := identity.Store{Directory: state}.Forget(forget)
		if err == nil {
			_, err = fmt.Fprintf(c.OutOrStdout(), "Forgotten, with nothing on any disk changed: %s", was)
		}
		return err
	}
	return c
}
