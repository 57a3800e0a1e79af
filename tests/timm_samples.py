"""Networks of timm, one of each of its families, with a small crop that each takes."""

FAMILIES = {
    "beit_base_patch16_224": 64, "coat_lite_tiny": 64, "convnext_atto": 64,
    "deit_tiny_distilled_patch16_224": 64, "densenet121": 64, "edgenext_xx_small": 64,
    "efficientnet_b0": 64, "eva02_tiny_patch14_224": 56, "ghostnet_050": 64, "hrnet_w18_small": 64,
    "inception_v4": 96, "legacy_xception": 96, "levit_128s": 64, "mixnet_s": 64,
    "mobilenetv3_small_050": 64, "mobilevit_xxs": 64, "nfnet_f0": 64, "pvt_v2_b0": 64,
    "regnety_002": 64, "resnet10t": 64, "resnetv2_50": 64, "swin_tiny_patch4_window7_224": 112,
    "tiny_vit_5m_224": 224, "vit_base_patch32_clip_224.openai": 64,
    "vit_small_patch14_dinov2.lvd142m": 56, "vit_tiny_patch16_224": 64, "xception41": 96,
}  # fmt: skip
