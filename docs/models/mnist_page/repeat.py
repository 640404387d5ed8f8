"""The configuration of the training: mnist_page, seed 0, step 1720.
"""

from ml_collections import ConfigDict

from multimodal_vit.config import changed, thesis


def get_config() -> ConfigDict:
    return changed(
        thesis(),
        {
            'evaluation.suites': ('single_foil', 'order_foil', 'translated'),
            'model.dropout_rate': 0.0,
            'model.embedding_dim': 64,
            'model.mlp_dim': 256,
            'model.num_conv_layers': 2,
            'model.num_encoder_layers': 2,
            'model.patch_size': 7,
            'model.stem': 'strided',
            'name': 'mnist_page',
            'task.corruption': 'mixed',
            'train.learning_rate': 0.002,
            'train.num_samples': 330000,
            'train.optimizer': 'muon',
            'train.warmup_steps': 50,
        },
    )
