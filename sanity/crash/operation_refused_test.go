package crash_test

import (
	"context"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/driver/volume"
)

// Calls that are refused and change nothing, whether they are cut off or not.

func refused(o operation, code codes.Code) operation {
	o.like, o.text, o.want = "refused "+o.like, o.text+", which is refused", code
	o.change, o.freezes, o.examine, o.missing, o.prepare, o.tidy = func(*model) {}, nil, "", nil, nil, nil
	return o
}

func (m *model) deleteUsed(v vol) operation {
	return refused(m.delete(v), codes.FailedPrecondition)
}

func (m *model) createOtherwise(v vol) operation {
	return refused(m.create(v.name, v.pool, v.form, v.size+8*volume.MiB, nil, data{}), codes.AlreadyExists)
}

func (m *model) deleteMember(s snap) operation {
	return refused(m.deleteSnapshot(s), codes.InvalidArgument)
}

func (m *model) unstagePublished(v vol) operation {
	return refused(m.unstage(v), codes.FailedPrecondition)
}

// stageElsewhere stages a mounted volume at another path, which the orchestrator has made.
func (m *model) stageElsewhere(v vol) operation {
	o := refused(m.stage(v, v.stagedReadOnly), codes.FailedPrecondition)
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
			VolumeId: v.handle, StagingTargetPath: filepath.Join(m.dir, "elsewhere"), VolumeCapability: capabilityFor(v.form, v.stagedReadOnly), PublishContext: v.context,
		})
		return err
	}
	return o
}
