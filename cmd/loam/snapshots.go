package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// snapshotRow is what `loam snapshots -o json` prints of a snapshot.
type snapshotRow struct {
	Handle    volume.ID     `json:"handle"`
	Volume    volume.ID     `json:"volume,omitzero"`
	SizeBytes volume.Size   `json:"sizeBytes"`
	Group     string        `json:"group,omitempty"`
	FSType    volume.FSType `json:"fsType,omitempty"`
	Mark      volume.Mark   `json:"mark"` // that a volume restored from it has
	Created   time.Time     `json:"created"`
	Damage    string        `json:"damage,omitempty"` // what of its record is lost or damaged; then the others may not be known
}

func snapshotsCommand() *cobra.Command {
	return look[snapshotRow]{
		use: "snapshots", short: "Show the snapshots on this machine",
		header: "HANDLE\tVOLUME\tSIZE\tGROUP\tCREATED\tDAMAGE",
		rows: func(ctx context.Context, p pool.Pool) ([]snapshotRow, error) {
			snapshotter, ok := p.(pool.Snapshotter)
			if !ok {
				return nil, nil
			}
			snapshots, err := snapshotter.ListSnapshots(ctx, "", 0)
			rows := make([]snapshotRow, len(snapshots))
			for i, s := range snapshots {
				rows[i] = snapshotRow{s.ID, s.Volume, s.Size, s.Group, s.FSType, s.Mark, s.Created, s.Damage}
			}
			return rows, err
		},
		line: func(r snapshotRow) string {
			of := r.Volume.String()
			if r.Volume == (volume.ID{}) {
				of = ""
			}
			return columns(r.Handle, of, r.SizeBytes, r.Group, when(r.Created), r.Damage)
		},
	}.command()
}
