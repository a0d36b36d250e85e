"""Tell three kinds of wine apart by their chemistry, with Keras: python wine.py"""

import argparse

import keras
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split


def load_data(test_size=0.25):
    x, y = load_wine(return_X_y=True)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype("float32")
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=test_size, random_state=7, stratify=y
    )
    return (x_train, y_train), (x_test, y_test)


def build_model(units=32, learning_rate=0.005):
    model = keras.Sequential(
        [
            keras.Input(shape=(13,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", default="wine.weights.h5")
    args = parser.parse_args()

    (x_train, y_train), (x_test, y_test) = load_data()
    keras.utils.set_random_seed(args.seed)
    model = build_model()
    keras.utils.set_random_seed(args.seed)
    model.fit(x_train, y_train, epochs=args.epochs, batch_size=args.batch_size, verbose=0)
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test loss {loss:.4f}, accuracy {accuracy:.1%}")
    model.save_weights(args.output)


if __name__ == "__main__":
    main()
