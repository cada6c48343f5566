package capability_test

import (
	"reflect"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/volume"
)

func mount(mode csi.VolumeCapability_AccessMode_Mode, m *csi.VolumeCapability_MountVolume) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: m},
	}
}

func block(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
}

func TestWhatAVolumeOnOneNodeCanBeIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		given *csi.VolumeCapability
		want  volume.Access
	}{
		"mount": {mount(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, nil), volume.Access{Mode: volume.SingleNodeWriter}},
		"mount with everything": {
			mount(csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER, &csi.VolumeCapability_MountVolume{FsType: "xfs", MountFlags: []string{"noatime"}}),
			volume.Access{FSType: volume.XFS, MountOptions: []string{"noatime"}, Mode: volume.SingleNodeMultiWriter},
		},
		"block": {block(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER), volume.Access{Block: true, Mode: volume.SingleNodeSingleWriter}},
		"read":  {block(csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY), volume.Access{Block: true, Mode: volume.SingleNodeReader}},
	} {
		got, err := capability.ParseAll([]*csi.VolumeCapability{c.given})
		if err != nil || !reflect.DeepEqual(got, []volume.Access{c.want}) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestAnythingElseIsInvalid(t *testing.T) {
	writer := csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	for name, given := range map[string]*csi.VolumeCapability{
		"nothing":        nil,
		"empty":          {},
		"no mode":        {AccessType: block(writer).GetAccessType()},
		"no access type": {AccessMode: block(writer).GetAccessMode()},
		"many nodes":     block(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER),
		"many readers":   mount(csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, nil),
		"unknown mode":   block(99),
		"file system":    mount(writer, &csi.VolumeCapability_MountVolume{FsType: "vfat"}),
		"mount flag":     mount(writer, &csi.VolumeCapability_MountVolume{MountFlags: []string{"loop"}}),
		"mount group":    mount(writer, &csi.VolumeCapability_MountVolume{VolumeMountGroup: "1000"}),
	} {
		if got, err := capability.ParseAll([]*csi.VolumeCapability{given}); !volume.Is(err, volume.Invalid) {
			t.Errorf("%s: %+v, %v; want Invalid", name, got, err)
		}
	}
	if _, err := capability.ParseAll(nil); !volume.Is(err, volume.Invalid) {
		t.Errorf("no capability at all: %v", err)
	}
}
