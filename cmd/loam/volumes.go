package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// volumeRow is what `loam volumes -o json` prints of a volume.
type volumeRow struct {
	Handle     volume.ID         `json:"handle"`
	SizeBytes  volume.Size       `json:"sizeBytes"`
	FSType     volume.FSType     `json:"fsType,omitempty"`
	Mark       volume.Mark       `json:"mark"`
	Device     string            `json:"device,omitempty"` // while it is attached
	ReadOnly   bool              `json:"readOnly,omitempty"`
	Source     *volume.Source    `json:"source,omitempty"`
	Parameters volume.Parameters `json:"parameters,omitzero"`
	Claim      volume.Claim      `json:"claim,omitzero"`
	Ephemeral  bool              `json:"ephemeral,omitempty"`
	Created    time.Time         `json:"created"`
	BlockBytes volume.Size       `json:"blockBytes,omitempty"` // of a logical block of its device; 0: not recorded
	Damage     string            `json:"damage,omitempty"`     // what of its record is lost or damaged
}

func volumesCommand() *cobra.Command {
	return look[volumeRow]{
		use: "volumes", short: "Show the volumes on this machine",
		header: "HANDLE\tSIZE\tFILE SYSTEM\tMARK\tDEVICE\tCLAIM\tCREATED\tDAMAGE",
		rows: func(ctx context.Context, p pool.Pool) ([]volumeRow, error) {
			volumes, err := p.List(ctx, "", 0)
			rows := make([]volumeRow, len(volumes))
			for i, v := range volumes {
				rows[i] = volumeRow{v.ID, v.Size, v.FSType, v.Mark, v.Device, v.ReadOnly, v.Source, v.Parameters, v.Claim, v.Ephemeral, v.Created, v.BlockBytes, v.Damage}
			}
			return rows, err
		},
		line: func(r volumeRow) string {
			claim := strings.Trim(r.Claim.Namespace+"/"+r.Claim.Name, "/")
			return columns(r.Handle, r.SizeBytes, r.FSType, r.Mark, r.Device, claim, when(r.Created), r.Damage)
		},
	}.command()
}
